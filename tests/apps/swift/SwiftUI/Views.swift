@_exported import Foundation
@_exported import UIKit

// What the app uses of SwiftUI, with the types that Apple's reference gives: for the compiler alone, nothing runs.

@MainActor @preconcurrency
public protocol View {
    associatedtype Body: View
    @ViewBuilder @MainActor @preconcurrency var body: Body { get }
}

extension Never: View {
    public var body: Never { fatalError() }
}

/// A view that has no other one in it.
public protocol Leaf: View where Body == Never {}

extension Leaf {
    public var body: Never { fatalError() }
}

public struct Group<Content>: Leaf {}

@resultBuilder
public enum ViewBuilder {
    public static func buildBlock<each Content: View>(_ content: repeat each Content) -> Group<(repeat each Content)> { Group() }

    public static func buildBlock<Content: View>(_ content: Content) -> Content { content }

    public static func buildIf<Content: View>(_ content: Content?) -> Group<Content?> { Group() }

    public static func buildEither<First: View, Second: View>(first: First) -> Group<(First, Second)> { Group() }

    public static func buildEither<First: View, Second: View>(second: Second) -> Group<(First, Second)> { Group() }
}

@MainActor @preconcurrency
public protocol Scene {}

public struct WindowGroup<Content: View>: Scene {
    public init(@ViewBuilder content: () -> Content) {}
}

@resultBuilder
public enum SceneBuilder {
    public static func buildBlock<Content: Scene>(_ content: Content) -> Content { content }
}

@MainActor @preconcurrency
public protocol App {
    associatedtype Body: Scene
    @SceneBuilder @MainActor @preconcurrency var body: Body { get }
    init()
}

extension App {
    public static func main() {}
}

public protocol ObservableObject: AnyObject {}

@propertyWrapper
public struct Published<Value> {
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }

    public var wrappedValue: Value
}

@propertyWrapper
public struct Binding<Value> {
    public init() {}

    public var wrappedValue: Value {
        get { fatalError() }
        nonmutating set {}
    }
}

@propertyWrapper
public struct State<Value> {
    public init(wrappedValue: Value) {}

    public init() where Value: ExpressibleByNilLiteral {}

    public var wrappedValue: Value {
        get { fatalError() }
        nonmutating set {}
    }

    public var projectedValue: Binding<Value> { Binding() }
}

@MainActor @preconcurrency @propertyWrapper
public struct ObservedObject<Value: ObservableObject> {
    public init(wrappedValue: Value) { self.wrappedValue = wrappedValue }

    public var wrappedValue: Value
}

@MainActor @preconcurrency @propertyWrapper
public struct StateObject<Value: ObservableObject> {
    nonisolated public init(wrappedValue thunk: @autoclosure @escaping () -> Value) {}

    public var wrappedValue: Value { fatalError() }
}

public struct LocalizedStringKey: ExpressibleByStringInterpolation {
    public init(stringLiteral value: String) {}
}

public enum HorizontalAlignment {
    case leading
}

public enum Alignment {
    case leading, center
}

public enum ContentMode {
    case fit
}

public struct Font {
    public static var headline: Font { Font() }
    public static var footnote: Font { Font() }
}

public struct AccessibilityTraits {
    public static var isHeader: AccessibilityTraits { AccessibilityTraits() }
}

public enum AccessibilityChildBehavior {
    case ignore
}

public struct Text: Leaf {
    public init(verbatim content: String) {}

    public func monospacedDigit() -> Text { self }
}

public struct Image: Leaf {
    public init(systemName: String) {}

    public init(uiImage: UIImage) {}

    public func resizable() -> Image { self }
}

public struct Spacer: Leaf {
    public init() {}
}

public struct ProgressView: Leaf {
    public init<Value: BinaryFloatingPoint>(value: Value?, total: Value = 1.0) {}
}

public struct VStack<Content: View>: Leaf {
    public init(alignment: HorizontalAlignment = .leading, spacing: CGFloat? = nil, @ViewBuilder content: () -> Content) {}
}

public struct HStack<Content: View>: Leaf {
    public init(spacing: CGFloat? = nil, @ViewBuilder content: () -> Content) {}
}

public struct ScrollView<Content: View>: Leaf {
    public init(@ViewBuilder content: () -> Content) {}
}

public struct Label<Title: View, Icon: View>: Leaf {
    public init(@ViewBuilder title: () -> Title, @ViewBuilder icon: () -> Icon) {}
}

public struct ForEach<Data: RandomAccessCollection, Content: View>: Leaf where Data.Element: Identifiable {
    public init(_ data: Data, @ViewBuilder content: @escaping (Data.Element) -> Content) {}
}

public struct Button: Leaf {
    public init(_ titleKey: LocalizedStringKey, action: @escaping @MainActor () -> Void) {}

    public init<Title: StringProtocol>(_ title: Title, action: @escaping @MainActor () -> Void) {}
}

@MainActor @preconcurrency
public protocol PrimitiveButtonStyle {}

public struct BorderedButtonStyle: PrimitiveButtonStyle {}

public struct BorderedProminentButtonStyle: PrimitiveButtonStyle {}

extension PrimitiveButtonStyle where Self == BorderedButtonStyle {
    public static var bordered: BorderedButtonStyle { BorderedButtonStyle() }
}

extension PrimitiveButtonStyle where Self == BorderedProminentButtonStyle {
    public static var borderedProminent: BorderedProminentButtonStyle { BorderedProminentButtonStyle() }
}

public protocol ShapeStyle {}

public struct Color: ShapeStyle {
    public func opacity(_ opacity: Double) -> Color { self }
}

extension ShapeStyle where Self == Color {
    public static var red: Color { Color() }
}

public struct RoundedRectangle {
    public init(cornerRadius: CGFloat) {}
}

@MainActor @preconcurrency
public protocol UIViewRepresentable: View where Body == Never {
    associatedtype UIViewType: UIView
    associatedtype Coordinator = Void
    typealias Context = UIViewRepresentableContext<Self>
    func makeUIView(context: Context) -> UIViewType
    func updateUIView(_ uiView: UIViewType, context: Context)
    func makeCoordinator() -> Coordinator
    static func dismantleUIView(_ uiView: UIViewType, coordinator: Coordinator)
}

extension UIViewRepresentable {
    public var body: Never { fatalError() }
}

@MainActor @preconcurrency
public struct UIViewRepresentableContext<Representable: UIViewRepresentable> {
    public var coordinator: Representable.Coordinator { fatalError() }
}
